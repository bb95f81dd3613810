"""Between uint8 pixels and the floats a tokenizer works with."""
