"""Pictures: grids, canvases, animations, and the recipe every PNG carries."""
