"""What may be said between a dock and the cloud: bytes in, frozen typed objects out, no I/O.

Comments name the page of DJI's Cloud API that the code stands on, as "DJI: flysafe". "Decision 20" is a number in
`docs/protocol.md`: what we do where the pages contradict each other or say nothing.
"""
