"""Statements by noun, one small function each. Foreign text only ever travels as a parameter."""
