"""How dates are written, where Django's own way does not suit narrow columns and 24 hours."""
