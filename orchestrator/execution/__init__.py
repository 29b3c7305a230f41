"""How claimed work is carried out: claim, heartbeat, commit. Shared by worker and toolbox."""
