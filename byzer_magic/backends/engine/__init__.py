"""What local engines share: audio decoding, worker threads, devices, loading progress."""
