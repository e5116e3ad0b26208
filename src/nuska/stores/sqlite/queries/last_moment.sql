SELECT last_moment FROM timeline
