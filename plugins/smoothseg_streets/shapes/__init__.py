"""What stands and moves in a street, as lit polygons in metres."""
