"""What besides an event moves radar: rain, and whatever all fields around have in common."""
