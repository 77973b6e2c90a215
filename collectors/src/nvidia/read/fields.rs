//! Field values, many in one call: `nvmlDeviceGetFieldValues`, raw, because nvml_wrapper's own knows no
//! scopes and fails at signed values. Ids are those of driver 580.82 and later.

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings::{nvmlFieldValue_t, nvmlValue_t, nvmlValueType_t};

use super::calls::Calls;

/// A field: its id, what it is about, and its name for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// `NVML_FI_*` as numbered since driver 580.82.
    pub id: u32,
    /// A link's number, or which part of the board; 0 for most fields.
    pub scope: u32,
}

impl Field {
    /// A field that has one value a GPU.
    pub const fn new(id: u32) -> Self {
        Self { id, scope: 0 }
    }
}

/// Which numbers the driver has for the fields 251 to 273.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbering {
    /// Before driver 580.82.
    Older,
    /// Since then.
    #[default]
    Since580_82,
}

impl Numbering {
    /// By the driver's version, `580.95.05`. One that cannot be read is taken for a new one.
    pub fn of_driver(version: &str) -> Self {
        let mut numbers = version
            .split('.')
            .map_while(|part| part.parse::<u32>().ok());
        match (numbers.next(), numbers.next()) {
            (Some(major), minor) if (major, minor.unwrap_or(0)) < (580, 82) => Self::Older,
            _ => Self::Since580_82,
        }
    }

    /// The number to ask with.
    fn id(self, id: u32) -> u32 {
        match (self, id) {
            (Self::Older, 251..=268) => id + 5,
            (Self::Older, 269..=273) => id - 18,
            _ => id,
        }
    }
}

/// A value as the driver typed it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned type.
    Unsigned(u64),
    /// Any signed type.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
}

impl Value {
    /// Reads the member of the union that the type names; `None` for a type of a later driver.
    pub fn decode(kind: nvmlValueType_t, value: nvmlValue_t) -> Option<Self> {
        // SAFETY: every member of the union is a number, for which all bits are valid, and `nvmlValue_t` is
        // plain memory that is initialised whole.
        unsafe {
            Some(match kind {
                0 => Self::Float(value.dVal),
                1 => Self::Unsigned(value.uiVal.into()),
                2 => Self::Unsigned(value.ulVal),
                3 => Self::Unsigned(value.ullVal),
                4 => Self::Signed(value.sllVal),
                5 => Self::Signed(value.siVal.into()),
                6 => Self::Unsigned(value.usVal.into()),
                _ => return None,
            })
        }
    }

    /// As a count; `None` below zero, and for the largest number of a type, which stands for unknown.
    pub fn count(self) -> Option<u64> {
        match self {
            Self::Unsigned(u64::MAX) => None,
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) => u64::try_from(value).ok(),
            Self::Float(value) => (0.0..1e18).contains(&value).then_some(value as u64),
        }
    }

    /// As a small number that may be below zero, such as degrees.
    pub fn small(self) -> Option<i32> {
        match self {
            Self::Unsigned(value) => i32::try_from(value).ok(),
            Self::Signed(value) => i32::try_from(value).ok(),
            Self::Float(value) => (value.abs() < 1e9).then_some(value.round() as i32),
        }
    }

    /// As a number.
    pub fn number(self) -> f64 {
        match self {
            Self::Unsigned(value) => value as f64,
            Self::Signed(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// The fields of one GPU that are read together, without those that it does not support.
pub struct Batch {
    wanted: Vec<Field>,
    values: Vec<nvmlFieldValue_t>,
}

// SAFETY: nvmlFieldValue_t holds numbers only.
unsafe impl Send for Batch {}

impl Batch {
    /// A batch of `fields`.
    pub fn new(fields: impl IntoIterator<Item = Field>) -> Self {
        Self {
            wanted: fields.into_iter().collect(),
            values: Vec::new(),
        }
    }

    /// Reads all of them in one call. What a GPU does not support is not asked again.
    pub fn read(
        &mut self,
        device: &Device<'_>,
        uuid: &str,
        calls: &mut Calls,
        numbering: Numbering,
    ) {
        self.values.clear();
        if self.wanted.is_empty() {
            return;
        }
        self.values
            .extend(self.wanted.iter().map(|field| nvmlFieldValue_t {
                fieldId: numbering.id(field.id),
                scopeId: field.scope,
                timestamp: 0,
                latencyUsec: 0,
                valueType: 0,
                nvmlReturn: 0,
                value: nvmlValue_t { ullVal: 0 },
            }));
        let values = &mut self.values;
        let answer = calls.ask(uuid, "nvmlDeviceGetFieldValues", || {
            let call = nvml_sym(device.nvml().lib().nvmlDeviceGetFieldValues.as_ref())?;
            let count = i32::try_from(values.len()).unwrap_or(i32::MAX);
            // SAFETY: the handle comes from this library, still initialised; the buffer holds `count` rows.
            nvml_try(unsafe { call(device.handle(), count, values.as_mut_ptr()) })
        });
        if answer.is_none() {
            self.values.clear();
            return;
        }
        let mut keep = self.values.iter().map(|value| match value.nvmlReturn {
            0 => true,
            code => calls.keeps_field(uuid, value.fieldId, value.scopeId, code.into()),
        });
        // In step with `values`, which is in the order of `wanted`.
        self.wanted.retain(|_| keep.next().unwrap_or(true));
    }

    /// The value that was read of `field`; `None` if it was not, or failed.
    pub fn get(&self, field: Field, numbering: Numbering) -> Option<Value> {
        let id = numbering.id(field.id);
        let row = self
            .values
            .iter()
            .find(|row| row.fieldId == id && row.scopeId == field.scope && row.nvmlReturn == 0)?;
        Value::decode(row.valueType, row.value)
    }
}

/// Whether a field's own code says that it will never be answered.
pub fn is_never(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::NotSupported
            | NvmlError::InvalidArg
            | NvmlError::FunctionNotFound
            | NvmlError::NoPermission
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_drivers_number_the_fields_251_to_273_differently() {
        for (version, expected) in [
            ("470.256.02", Numbering::Older),
            ("580.65.06", Numbering::Older),
            ("580.82.07", Numbering::Since580_82),
            ("595.10", Numbering::Since580_82),
            ("of the future", Numbering::Since580_82),
        ] {
            assert_eq!(Numbering::of_driver(version), expected, "{version}");
        }
        assert_eq!(
            [269, 271, 251, 82].map(|id| Numbering::Older.id(id)),
            [251, 253, 256, 82]
        );
        assert_eq!(Numbering::Since580_82.id(269), 269);
        let mut old: Vec<_> = (251..=273).map(|id| Numbering::Older.id(id)).collect();
        old.sort_unstable();
        assert_eq!(old, (251..=273).collect::<Vec<_>>());
    }

    #[test]
    fn every_type_of_value_is_read_and_a_later_one_is_unknown() {
        let value = |bits| nvmlValue_t { ullVal: bits };
        let minus = (-7_i64).cast_unsigned();
        assert_eq!(
            Value::decode(0, nvmlValue_t { dVal: 1.5 }),
            Some(Value::Float(1.5))
        );
        assert_eq!(
            Value::decode(1, value(7 | 9 << 32)),
            Some(Value::Unsigned(7))
        );
        assert_eq!(
            Value::decode(2, value(1 << 40)),
            Some(Value::Unsigned(1 << 40))
        );
        assert_eq!(
            Value::decode(3, value(1 << 50)),
            Some(Value::Unsigned(1 << 50))
        );
        assert_eq!(Value::decode(4, value(minus)), Some(Value::Signed(-7)));
        assert_eq!(Value::decode(5, value(minus)), Some(Value::Signed(-7)));
        assert_eq!(Value::decode(6, value(0x1_0003)), Some(Value::Unsigned(3)));
        assert_eq!(Value::decode(7, value(0)), None);
    }

    #[test]
    fn what_is_no_count_is_unknown() {
        assert_eq!(Value::Unsigned(u64::MAX).count(), None);
        assert_eq!(Value::Signed(-1).count(), None);
        assert_eq!(Value::Float(f64::NAN).count(), None);
        assert_eq!(Value::Signed(5).count(), Some(5));
        assert_eq!(Value::Signed(-12).small(), Some(-12));
    }
}
