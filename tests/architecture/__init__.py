"""The shape of the code and of the deployment: checked, so that the next context looks like the first."""
