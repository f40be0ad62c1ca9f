"""The line to the broker: protocol, routing, dispatch, the bridge process, the simulator."""
