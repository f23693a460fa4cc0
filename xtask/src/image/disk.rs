// SPDX-License-Identifier: MIT OR Apache-2.0
//! A GPT disk with an EFI system partition.

use std::io::{self, Cursor, Write};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::{partition_types, GptConfig};

const SECTOR_BYTES: u64 = 512;
/// The partition's first sector: 1 MiB, which leaves room for the primary table.
const FIRST_SECTOR: u64 = 2048;
/// 36 MiB. A FAT32, which is what the UEFI specification asks for on a fixed disk, has at least
/// 65525 clusters, here of one sector each, and two tables of four bytes for each.
const PARTITION_SECTORS: u64 = 36 * 2048;
/// Behind the partition is room for the backup table.
const DISK_SECTORS: u64 = FIRST_SECTOR + PARTITION_SECTORS + 2048;

/// Where firmware looks for what to start on a disk that it was told nothing about.
const APPLICATION: &str = "BOOTX64.EFI";
/// Where the kernel looks for its command line, beside the application.
const COMMAND_LINE: &str = "cmdline.txt";

/// Returns the bytes of a disk that boots `application` and gives it `command_line`.
///
/// # Errors
///
/// - They do not fit the partition.
pub fn image(application: &[u8], command_line: &str) -> io::Result<Vec<u8>> {
    let mut disk = vec![0; (DISK_SECTORS * SECTOR_BYTES) as usize];
    partition(&mut disk)?;
    let start = (FIRST_SECTOR * SECTOR_BYTES) as usize;
    let end = start + (PARTITION_SECTORS * SECTOR_BYTES) as usize;
    fill(&mut disk[start..end], application, command_line)?;
    Ok(disk)
}

/// Writes the partition tables.
fn partition(disk: &mut [u8]) -> io::Result<()> {
    let mut device = Cursor::new(disk);
    ProtectiveMBR::with_lb_size((DISK_SECTORS - 1) as u32)
        .overwrite_lba0(&mut device)
        .map_err(io::Error::other)?;
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(device, None)
        .map_err(io::Error::other)?;
    table
        .add_partition_at(
            "EFI system partition",
            1,
            FIRST_SECTOR,
            PARTITION_SECTORS,
            partition_types::EFI,
            0,
        )
        .map_err(io::Error::other)?;
    table.write().map_err(io::Error::other)?;
    Ok(())
}

/// Writes the file system.
fn fill(partition: &mut [u8], application: &[u8], command_line: &str) -> io::Result<()> {
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(SECTOR_BYTES as u32)
        .volume_label(*b"IVSHMEM    ");
    fatfs::format_volume(Cursor::new(&mut *partition), options)?;
    let volume = FileSystem::new(Cursor::new(partition), FsOptions::new())?;
    let folder = volume.root_dir().create_dir("EFI")?.create_dir("BOOT")?;
    folder.create_file(APPLICATION)?.write_all(application)?;
    folder
        .create_file(COMMAND_LINE)?
        .write_all(format!("{command_line}\n").as_bytes())?;
    drop(folder);
    volume.unmount()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Reads a file of a disk by its way through the partition table, as firmware does.
    fn read(disk: &mut [u8], path: &str) -> Vec<u8> {
        let table = GptConfig::new()
            .only_valid_headers(true)
            .open_from_device(Cursor::new(&mut *disk))
            .unwrap();
        let partition = &table.partitions()[&1];
        assert_eq!(partition.part_type_guid, partition_types::EFI);
        let start = (partition.first_lba * SECTOR_BYTES) as usize;
        let end = ((partition.last_lba + 1) * SECTOR_BYTES) as usize;
        drop(table);
        let volume = FileSystem::new(Cursor::new(&mut disk[start..end]), FsOptions::new()).unwrap();
        assert_eq!(volume.fat_type(), FatType::Fat32);
        let mut bytes = Vec::new();
        let mut file = volume.root_dir().open_file(path).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn firmware_finds_the_application_and_the_kernel_its_command_line() {
        let application = vec![0x5a; 1 << 20];
        let mut disk = image(&application, "run=x list").unwrap();
        assert_eq!(read(&mut disk, "EFI/BOOT/BOOTX64.EFI"), application);
        assert_eq!(read(&mut disk, "EFI/BOOT/cmdline.txt"), b"run=x list\n");
    }

    #[test]
    fn an_application_that_does_not_fit_is_an_error() {
        let application = vec![0; (PARTITION_SECTORS * SECTOR_BYTES) as usize];
        assert!(image(&application, "").is_err());
    }
}
