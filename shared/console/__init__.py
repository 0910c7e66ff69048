"""Shows the system in a browser: a thin web layer over the functions of the commands. Changes parked messages only."""
