"""The shape of the code and of what is deployed: checked, so that the next context looks like the first."""
