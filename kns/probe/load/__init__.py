"""The load client: new connections, held connections and UDP flows from one place to another."""
