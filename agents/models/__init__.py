"""Personas, connections to the providers of their models, tools and MCP servers."""

from agents.models.mcp import McpAuth, McpServer, McpSignIn
from agents.models.personas import (
    Connection,
    ConnectionKind,
    Lattice,
    Persona,
    PersonaGrant,
    PersonaVersion,
    Pigment,
)
from agents.models.tools import Deciders, PersonaTool, Reach, Tool, ToolPolicy

__all__ = [
    "Connection",
    "ConnectionKind",
    "Deciders",
    "Lattice",
    "McpAuth",
    "McpServer",
    "McpSignIn",
    "Persona",
    "PersonaGrant",
    "PersonaTool",
    "PersonaVersion",
    "Pigment",
    "Reach",
    "Tool",
    "ToolPolicy",
]
