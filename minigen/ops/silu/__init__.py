"""The activation v sigmoid(v), alone and as the gate of a feed-forward layer."""
