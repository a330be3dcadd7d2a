//! What a process and its children have used, by the accounting of the kernel in `/proc`.

use std::collections::HashSet;
use std::fs;

/// A process and all that it has started.
#[derive(Debug, Clone)]
pub struct Processes {
    ids: Vec<u32>,
}

/// What processes have used since they started, and hold now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Time on a core, nanoseconds.
    pub cpu_ns: u64,
    /// Ticks spent in the program; only their share beside `system_ticks` is told exactly.
    pub user_ticks: u64,
    /// Ticks spent in the kernel on its behalf.
    pub system_ticks: u64,
    /// Context switches because it waited.
    pub voluntary_switches: u64,
    /// Context switches because somebody else's turn had come.
    pub involuntary_switches: u64,
    /// Resident memory, bytes; what several processes share counts for each.
    pub rss_bytes: u64,
    /// Resident memory, bytes; what several share is divided among them. 0 where it is not told.
    pub pss_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Processes.
    pub processes: u64,
    /// Datagrams that the kernel dropped because their sockets' buffers were full.
    pub udp_drops: u64,
}

impl Processes {
    /// A process with its children; `None` when there is none of this number.
    pub fn of(id: u32) -> Option<Self> {
        if !fs::exists(format!("/proc/{id}/stat")).unwrap_or(false) {
            return None;
        }
        let mut ids = vec![id];
        let mut next = 0;
        while let Some(parent) = ids.get(next).copied() {
            for task in tasks(parent) {
                let children = read(&format!("/proc/{parent}/task/{task}/children"));
                for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
                    if !ids.contains(&child) {
                        ids.push(child);
                    }
                }
            }
            next += 1;
        }
        Some(Self { ids })
    }

    /// What they have used by now.
    pub fn used(&self) -> Used {
        let mut used = Used::default();
        for id in &self.ids {
            add_process(*id, &mut used);
        }
        used.udp_drops = self.udp_drops();
        used
    }

    /// Their resident memory, which is cheap to ask for.
    pub fn rss_bytes(&self) -> u64 {
        self.ids.iter().map(|id| rss_bytes(*id)).sum()
    }

    /// Their resident memory, with what several share divided among them; to ask for it holds a large
    /// process up for a moment.
    pub fn pss_bytes(&self) -> u64 {
        let pss = |id| line(&read(&format!("/proc/{id}/smaps_rollup")), "Pss:") * 1_024;
        self.ids.iter().map(pss).sum()
    }

    /// Whether the first of them still runs.
    pub fn is_running(&self) -> bool {
        let stat = self.ids.first().map(|id| read(&format!("/proc/{id}/stat")));
        stat.is_some_and(|stat| {
            let state = stat
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.chars().next());
            !matches!(state, None | Some('Z' | 'X'))
        })
    }

    fn udp_drops(&self) -> u64 {
        let Some(first) = self.ids.first() else {
            return 0;
        };
        let sockets: HashSet<String> = self.ids.iter().flat_map(|id| sockets_of(*id)).collect();
        ["udp", "udp6"]
            .iter()
            .flat_map(|table| {
                let table = read(&format!("/proc/{first}/net/{table}"));
                table.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
            })
            .filter_map(|row| drops_of_row(&row, &sockets))
            .sum()
    }
}

/// The drops of a row of `/proc/net/udp`, where its socket is one of these.
fn drops_of_row(row: &str, sockets: &HashSet<String>) -> Option<u64> {
    let mut fields = row.split_whitespace();
    let inode = fields.nth(9)?;
    let drops = fields.last()?;
    sockets
        .contains(inode)
        .then(|| drops.parse().ok())
        .flatten()
}

/// The inodes of a process's sockets.
fn sockets_of(id: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{id}/fd"));
    let links = entries.into_iter().flatten().flatten();
    links
        .filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?;
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect()
}

fn add_process(id: u32, used: &mut Used) {
    let stat = read(&format!("/proc/{id}/stat"));
    let Some((_, fields)) = stat.rsplit_once(") ") else {
        return;
    };
    let field = |index: usize| {
        let text = fields.split(' ').nth(index).unwrap_or_default();
        text.parse::<u64>().unwrap_or_default()
    };
    used.processes += 1;
    used.user_ticks += field(11);
    used.system_ticks += field(12);
    for task in tasks(id) {
        used.threads += 1;
        used.cpu_ns += thread_cpu_ns(&format!("/proc/{id}/task/{task}"));
        let status = read(&format!("/proc/{id}/task/{task}/status"));
        used.voluntary_switches += line(&status, "voluntary_ctxt_switches:");
        used.involuntary_switches += line(&status, "nonvoluntary_ctxt_switches:");
    }
    used.rss_bytes += rss_bytes(id);
}

fn rss_bytes(id: u32) -> u64 {
    line(&read(&format!("/proc/{id}/status")), "VmRSS:") * 1_024
}

/// The time a thread has been on a core, by its directory in `/proc`.
pub(super) fn thread_cpu_ns(directory: &str) -> u64 {
    let stat = read(&format!("{directory}/schedstat"));
    let first = stat.split(' ').next();
    first.and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

fn tasks(id: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{id}/task"));
    let names = entries.into_iter().flatten().flatten();
    names
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The number in the line that begins so.
fn line(text: &str, head: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix(head));
    let number = found.and_then(|rest| rest.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a socket is what is looked for")]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn this_process_is_accounted_for() {
        let processes = Processes::of(std::process::id()).unwrap();
        let before = processes.used();
        let mut sum = 0_u64;
        while processes.used().cpu_ns < before.cpu_ns + 20_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        let after = processes.used();
        assert!(after.rss_bytes > 1 << 20 && after.threads >= 1 && after.processes >= 1);
        assert!(after.user_ticks + after.system_ticks >= before.user_ticks + before.system_ticks);
        assert!(processes.is_running());
        assert!(processes.rss_bytes() > 1 << 20);
        assert!(processes.pss_bytes() > 1 << 20);
    }

    #[test]
    fn a_process_that_does_not_exist_is_none() {
        assert!(Processes::of(u32::MAX).is_none());
    }

    #[test]
    fn a_child_belongs_to_its_parent() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let processes = Processes::of(std::process::id()).unwrap();
        assert!(processes.ids.contains(&child.id()));
        let own = Processes::of(child.id()).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!own.is_running());
    }

    #[test]
    fn datagrams_that_found_no_room_are_counted() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let processes = Processes::of(std::process::id()).unwrap();
        let before = processes.udp_drops();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..10_000 {
            let _ = peer.send_to(&[0; 8_000], socket.local_addr().unwrap());
        }
        assert!(processes.udp_drops() > before);
    }
}
