"""The server: what it keeps, what it is sent, and how it averages."""

from .server import Server as Server
