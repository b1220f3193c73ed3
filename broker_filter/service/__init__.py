"""The long-running program.

Settings enter; a service that polls, classifies, publishes, commits and drains leaves. All other packages meet here.
"""
