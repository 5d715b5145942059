"""How well what was found agrees with what people know: events, and crop types."""
