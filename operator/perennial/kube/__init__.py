"""The engine: watches, caches, queue, reconcile loop and writes. It knows no kind of ours."""
