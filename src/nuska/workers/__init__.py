"""Several processes that serve one address: started, counted together, kept alive, stopped.

A supervisor opens the sockets and forks the workers; it serves nothing itself, has no event
loop and no threads, and knows nothing of what a worker does.
"""
