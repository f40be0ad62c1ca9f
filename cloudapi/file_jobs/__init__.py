"""Imports and exports that a worker carries out: asked for on a page or by REST, done by the queue `files`."""
