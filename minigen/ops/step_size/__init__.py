"""How far a state moves at each token: positive, whatever a projection says."""
