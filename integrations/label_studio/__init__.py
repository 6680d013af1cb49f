"""Label Studio: its labelling interface, its JSON, its ML-backend protocol and its server."""
