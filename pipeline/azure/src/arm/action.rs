//! What the calls need leave for, by Azure's own names. Calls can name nothing else; the role is made of this list.

use core::fmt;

/// Declares the actions once: their names here, their names at Azure, and the list of all.
macro_rules! actions {
    ($($(#[$meta:meta])* $name:ident = $text:literal,)*) => {
        /// Something that an identity needs leave for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Action {
            $($(#[$meta])* $name,)*
        }

        impl Action {
            /// All of them, in the order of their names at Azure.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name at Azure.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

actions! {
    /// What oneself may do.
    PermissionsRead = "Microsoft.Authorization/permissions/read",
    /// Taking back a disk's signature.
    DiskEndAccess = "Microsoft.Compute/disks/endGetAccess/action",
    /// Asking for a disk's signature.
    DiskBeginAccess = "Microsoft.Compute/disks/beginGetAccess/action",
    /// Deleting disks.
    DiskDelete = "Microsoft.Compute/disks/delete",
    /// Looking at disks.
    DiskRead = "Microsoft.Compute/disks/read",
    /// Making disks and attaching them.
    DiskWrite = "Microsoft.Compute/disks/write",
    /// What is left of a quota.
    UsagesRead = "Microsoft.Compute/locations/usages/read",
    /// Which sizes are offered where.
    SizesRead = "Microsoft.Compute/skus/read",
    /// Asking for a snapshot's signature.
    SnapshotBeginAccess = "Microsoft.Compute/snapshots/beginGetAccess/action",
    /// Deleting snapshots.
    SnapshotDelete = "Microsoft.Compute/snapshots/delete",
    /// Taking back a snapshot's signature.
    SnapshotEndAccess = "Microsoft.Compute/snapshots/endGetAccess/action",
    /// Looking at snapshots.
    SnapshotRead = "Microsoft.Compute/snapshots/read",
    /// Making snapshots.
    SnapshotWrite = "Microsoft.Compute/snapshots/write",
    /// Turning machines off for good, so that they cost nothing.
    MachineDeallocate = "Microsoft.Compute/virtualMachines/deallocate/action",
    /// Deleting machines.
    MachineDelete = "Microsoft.Compute/virtualMachines/delete",
    /// Looking at a machine that runs.
    MachineView = "Microsoft.Compute/virtualMachines/instanceView/read",
    /// Turning machines off.
    MachinePowerOff = "Microsoft.Compute/virtualMachines/powerOff/action",
    /// Looking at machines.
    MachineRead = "Microsoft.Compute/virtualMachines/read",
    /// Reading a machine's console.
    MachineConsole = "Microsoft.Compute/virtualMachines/retrieveBootDiagnosticsData/action",
    /// Turning machines on.
    MachineStart = "Microsoft.Compute/virtualMachines/start/action",
    /// Making machines.
    MachineWrite = "Microsoft.Compute/virtualMachines/write",
    /// Deleting network interfaces.
    InterfaceDelete = "Microsoft.Network/networkInterfaces/delete",
    /// Giving an interface to a machine.
    InterfaceJoin = "Microsoft.Network/networkInterfaces/join/action",
    /// Looking at network interfaces.
    InterfaceRead = "Microsoft.Network/networkInterfaces/read",
    /// Making network interfaces.
    InterfaceWrite = "Microsoft.Network/networkInterfaces/write",
    /// Deleting network security groups.
    SecurityGroupDelete = "Microsoft.Network/networkSecurityGroups/delete",
    /// Giving a network security group to an interface or subnet.
    SecurityGroupJoin = "Microsoft.Network/networkSecurityGroups/join/action",
    /// Looking at network security groups.
    SecurityGroupRead = "Microsoft.Network/networkSecurityGroups/read",
    /// Making network security groups.
    SecurityGroupWrite = "Microsoft.Network/networkSecurityGroups/write",
    /// Deleting public addresses.
    PublicAddressDelete = "Microsoft.Network/publicIPAddresses/delete",
    /// Giving a public address to an interface.
    PublicAddressJoin = "Microsoft.Network/publicIPAddresses/join/action",
    /// Looking at public addresses.
    PublicAddressRead = "Microsoft.Network/publicIPAddresses/read",
    /// Making public addresses.
    PublicAddressWrite = "Microsoft.Network/publicIPAddresses/write",
    /// Deleting networks.
    NetworkDelete = "Microsoft.Network/virtualNetworks/delete",
    /// Looking at networks; also asking whether an address is free.
    NetworkRead = "Microsoft.Network/virtualNetworks/read",
    /// Putting an interface into a subnet.
    SubnetJoin = "Microsoft.Network/virtualNetworks/subnets/join/action",
    /// Looking at subnets.
    SubnetRead = "Microsoft.Network/virtualNetworks/subnets/read",
    /// Making networks.
    NetworkWrite = "Microsoft.Network/virtualNetworks/write",
    /// Deleting resource groups.
    GroupDelete = "Microsoft.Resources/subscriptions/resourceGroups/delete",
    /// Looking at resource groups.
    GroupRead = "Microsoft.Resources/subscriptions/resourceGroups/read",
    /// Listing what is in a resource group.
    ResourcesRead = "Microsoft.Resources/subscriptions/resources/read",
    /// Making resource groups.
    GroupWrite = "Microsoft.Resources/subscriptions/resourceGroups/write",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
