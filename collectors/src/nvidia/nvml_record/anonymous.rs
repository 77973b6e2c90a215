//! What could tell whose machine it was is replaced, the same always by the same.

use std::collections::HashMap;

use super::calls::{Answer, Value};

/// The first number that stands for a process: above what Linux gives out, so that none of that number runs where
/// the record is played.
const FIRST_PID: i64 = 5_000_000;

/// Who was replaced so far.
#[derive(Debug, Default)]
pub struct Names {
    texts: HashMap<String, String>,
    pids: HashMap<i64, i64>,
}

impl Names {
    /// An answer without what it tells of its machine.
    pub fn replace(&mut self, call: &str, mut answer: Answer) -> Answer {
        let number = self.texts.len() + 1;
        for value in &mut answer.values {
            match (call, &mut *value) {
                ("nvmlDeviceGetUUID", Value::Text(text)) => {
                    let kind = if text.starts_with("MIG-") {
                        "MIG"
                    } else {
                        "GPU"
                    };
                    let new = || format!("{kind}-00000000-0000-4000-8000-{number:012}");
                    *text = self.texts.entry(text.clone()).or_insert_with(new).clone();
                }
                ("nvmlDeviceGetSerial", Value::Text(text)) => {
                    let new = || format!("{number:013}");
                    *text = self.texts.entry(text.clone()).or_insert_with(new).clone();
                }
                // The cluster's UUID and the GPU's place in it.
                ("nvmlDeviceGetGpuFabricInfo", Value::Plain(bytes)) => blank(bytes, 0),
                ("nvmlDeviceGetGpuFabricInfoV", Value::Versioned(bytes)) => blank(bytes, 4),
                _ => {}
            }
        }
        answer
    }

    /// What stands for a pid.
    pub fn pid(&mut self, pid: u32) -> i64 {
        let next = FIRST_PID + self.pids.len() as i64;
        *self.pids.entry(pid.into()).or_insert(next)
    }
}

/// Sixteen bytes of a UUID; the status after it stays, the number of the clique does not.
fn blank(structure: &mut [u8], uuid_at: usize) {
    for (at, byte) in structure.iter_mut().enumerate().skip(uuid_at) {
        let place = at - uuid_at;
        if place < 16 || (20..24).contains(&place) {
            *byte = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_replaced_by_the_same_and_a_fabric_has_no_name() {
        let mut names = Names::default();
        let text = |text: &str| Answer {
            code: 0,
            values: vec![Value::Text(text.to_owned())],
        };
        let first = names.replace("nvmlDeviceGetUUID", text("GPU-5a3d7c10"));
        assert_eq!(first, text("GPU-00000000-0000-4000-8000-000000000001"));
        let serial = names.replace("nvmlDeviceGetSerial", text("1650"));
        assert_eq!(serial, text("0000000000002"));
        assert_eq!(
            names.replace("nvmlDeviceGetUUID", text("GPU-5a3d7c10")),
            first
        );
        assert_eq!(
            names.replace("nvmlDeviceGetName", text("H200")),
            text("H200")
        );
        assert_eq!(
            [names.pid(7), names.pid(9), names.pid(7)],
            [5_000_000, 5_000_001, 5_000_000]
        );
        let fabric = Answer {
            code: 0,
            values: vec![Value::Plain((1..=28).collect())],
        };
        let Value::Plain(bytes) = &names.replace("nvmlDeviceGetGpuFabricInfo", fabric).values[0]
        else {
            panic!("another kind of value");
        };
        assert_eq!(bytes[..16], [0; 16]);
        assert_eq!(bytes[16..], [17, 18, 19, 20, 0, 0, 0, 0, 25, 26, 27, 28]);
    }
}
