"""Executes calls: functions with their arguments, in a child process for each slot."""
