"""What each part of the method is worth: decoders that differ in one thing, over several seeds."""
