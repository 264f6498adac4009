"""Drive an avatar from a video: expression, gaze and head pose per frame."""
