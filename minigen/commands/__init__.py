"""The commands of `minigen`, a file for each thing one comes to do."""
