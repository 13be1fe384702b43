//! What LVM's and the device mapper's own programs said on real machines, as they said it.
