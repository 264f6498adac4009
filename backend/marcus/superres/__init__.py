"""Maps from 1K to 4K by Real-ESRGAN's networks."""
