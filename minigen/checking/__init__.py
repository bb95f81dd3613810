"""Is a function, or a kernel, what the reference says? The referee behind the word."""
