"""The schemas of a system's messages: made from the code, written for others, and compared with what was published."""
