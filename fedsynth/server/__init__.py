"""The server: what it keeps, what it is sent, and how it makes one model of many."""

from .server import Server as Server
