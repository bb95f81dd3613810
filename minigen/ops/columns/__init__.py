"""A part of the last axis: what one wide projection holds side by side."""
