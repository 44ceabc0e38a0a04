//! Bytes of the wire: CIDs, keys, identities.

use crate::errors::{remote, usage};
use crdtstats_core::broadcast::{self, Head};
use crdtstats_core::cid::{Cid, HashKind};
use crdtstats_core::delta::{Delta, Element};
use crdtstats_core::error::WireError;
use crdtstats_core::hashed::Hashed;
use crdtstats_core::limits::{BLOCK_BYTES_TAKEN_MAX, BROADCAST_BYTES_TAKEN_MAX};
use crdtstats_core::signature::{self, Signature};
use crdtstats_core::{key, node};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::PyBytes;

/// An Ed25519 private key: who a replica is.
#[pyclass(frozen, module = "crdtstats._core")]
pub struct Identity {
    inner: crdtstats_core::identity::Identity,
}

impl Identity {
    pub fn signer(&self) -> &crdtstats_core::identity::Identity {
        &self.inner
    }
}

#[pymethods]
impl Identity {
    #[new]
    fn new(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let inner = crdtstats_core::identity::Identity::from_libp2p(data)
            .map_err(|error| usage(py, &error.to_string()))?;
        Ok(Identity { inner })
    }

    /// A new key, from the operating system's randomness.
    #[staticmethod]
    fn generate(py: Python<'_>) -> PyResult<Self> {
        let seed: [u8; 32] = py.import("os")?.call_method1("urandom", (32,))?.extract()?;
        Ok(Identity {
            inner: crdtstats_core::identity::Identity::from_seed(seed),
        })
    }

    #[getter]
    fn peer_id(&self) -> String {
        self.inner.peer_id().to_string()
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.to_libp2p())
    }

    fn sign<'py>(&self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.sign(data))
    }
}

/// From this many bytes on, hashing lets other threads run; below, that costs more than it gives.
const DETACH_BYTES_MIN: usize = 2048;

/// Key, id and value.
type Entry = (PyBackedStr, PyBackedStr, PyBackedBytes);
/// CID, dagName and block.
type HeadParts<'py> = (Bound<'py, PyBytes>, String, Option<Bound<'py, PyBytes>>);
/// Author, section, sequence, kind, and whether a newer version wrote it.
type Native = (Py<PyBytes>, Py<PyBytes>, u64, u64, bool);

fn hashing<T: Send>(py: Python<'_>, block: &[u8], call: impl FnOnce() -> T + Send) -> T {
    if block.len() < DETACH_BYTES_MIN {
        call()
    } else {
        py.detach(call)
    }
}

fn bad_bytes(py: Python<'_>) -> impl Fn(WireError) -> PyErr {
    move |error| remote(py, &error.to_string())
}

/// An argument, of a type that Rust can hold: wrong types stay `TypeError`, wrong values are `UsageError`.
fn argument<'a, 'py, T: FromPyObject<'a, 'py>>(
    what: &str,
    value: &'a Bound<'py, PyAny>,
) -> PyResult<T> {
    let py = value.py();
    value.extract().map_err(|error: T::Error| {
        let error: PyErr = error.into();
        if error.is_instance_of::<PyTypeError>(py) {
            error
        } else {
            usage(py, &format!("{what}: {error}"))
        }
    })
}

#[pyfunction]
fn cid_of<'py>(py: Python<'py>, prefix: &[u8], block: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let cid = hashing(py, block, || Cid::from_prefix(prefix, block)).map_err(bad_bytes(py))?;
    Ok(PyBytes::new(py, cid.as_bytes()))
}

#[pyfunction]
fn check_block(py: Python<'_>, cid: &[u8], block: &[u8]) -> PyResult<()> {
    hashing(py, block, || Cid::from_bytes(cid)?.check(block)).map_err(bad_bytes(py))
}

#[pyfunction]
fn cid<'py>(py: Python<'py>, block: &[u8], hash: &str) -> PyResult<Bound<'py, PyBytes>> {
    let kind = HashKind::from_name(hash)
        .ok_or_else(|| usage(py, &format!("hash {hash:?} is not one that is written")))?;
    let cid = hashing(py, block, || Cid::of(kind, block));
    Ok(PyBytes::new(py, cid.as_bytes()))
}

#[pyfunction]
fn clean_key(text: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(key::clean(&argument::<PyBackedStr>("the key", text)?).into_owned())
}

#[pyfunction]
fn encode_key_component(part: &[u8]) -> String {
    key::component(part)
}

fn elements(entries: &[Entry]) -> Vec<Element<'_>> {
    entries
        .iter()
        .map(|(key, id, value)| Element { key, id, value })
        .collect()
}

fn entries(py: Python<'_>, elements: &[Element<'_>]) -> Vec<(String, String, Py<PyBytes>)> {
    elements
        .iter()
        .map(|e| {
            (
                e.key.to_owned(),
                e.id.to_owned(),
                PyBytes::new(py, e.value).unbind(),
            )
        })
        .collect()
}

fn within<'py>(
    py: Python<'py>,
    what: &str,
    bytes: &[u8],
    max: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    if bytes.len() > max {
        return Err(usage(
            py,
            &format!(
                "the {what} has {} bytes, at most {max} are taken",
                bytes.len()
            ),
        ));
    }
    Ok(PyBytes::new(py, bytes))
}

#[pyfunction]
fn encode_node<'py>(
    py: Python<'py>,
    links: Vec<PyBackedBytes>,
    put: &Bound<'py, PyAny>,
    removed: &Bound<'py, PyAny>,
    priority: &Bound<'py, PyAny>,
    dag_name: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let links = links
        .iter()
        .map(|link| Cid::from_bytes(link))
        .collect::<Result<Vec<_>, _>>();
    let links = links.map_err(|error| usage(py, &error.to_string()))?;
    let put: Vec<Entry> = argument("elements", put)?;
    let removed: Vec<Entry> = argument("tombstones", removed)?;
    let dag_name: PyBackedStr = argument("dag_name", dag_name)?;
    let delta = Delta {
        elements: elements(&put),
        tombstones: elements(&removed),
        priority: argument("priority", priority)?,
        dag_name: &dag_name,
        native: None,
    };
    within(
        py,
        "block",
        &node::encode(&links, &delta),
        BLOCK_BYTES_TAKEN_MAX,
    )
}

/// What a block says: links, elements, tombstones, priority, dagName, `Native`, (signature, signer), exact form.
#[pyfunction]
#[pyo3(signature = (block, topic))]
#[allow(clippy::type_complexity)] // taken apart at once by `crdtstats.wire.decode_node`
fn decode_node<'py>(
    py: Python<'py>,
    block: &[u8],
    topic: Option<&str>,
) -> PyResult<(
    Vec<Bound<'py, PyBytes>>,
    Vec<(String, String, Py<PyBytes>)>,
    Vec<(String, String, Py<PyBytes>)>,
    u64,
    String,
    Option<Native>,
    Option<(&'static str, Option<String>)>,
    bool,
)> {
    let node = node::decode(block).map_err(bad_bytes(py))?;
    let signature = topic.map(
        |topic| match signature::verify(&Hashed::new(block), &node, topic) {
            Signature::Valid(author) => ("valid", Some(author.to_string())),
            Signature::Unsigned => ("unsigned", None),
            Signature::Invalid => ("invalid", None),
        },
    );
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes).unbind();
    let native = node.delta.native.map(|native| {
        let newer = native.is_from_newer_version();
        (
            bytes(native.author),
            bytes(&native.section),
            native.sequence,
            native.kind,
            newer,
        )
    });
    Ok((
        node.links
            .iter()
            .map(|link| PyBytes::new(py, link.as_bytes()))
            .collect(),
        entries(py, &node.delta.elements),
        entries(py, &node.delta.tombstones),
        node.delta.priority,
        node.delta.dag_name.to_owned(),
        native,
        signature,
        node::is_exact_form(block, &node),
    ))
}

#[pyfunction]
fn encode_broadcast<'py>(
    py: Python<'py>,
    heads: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let heads: Vec<(PyBackedBytes, PyBackedStr, Option<PyBackedBytes>)> = argument("heads", heads)?;
    let cids = heads.iter().map(|(cid, ..)| Cid::from_bytes(cid));
    let cids = cids
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| usage(py, &error.to_string()))?;
    let heads: Vec<Head<'_>> = cids
        .into_iter()
        .zip(&heads)
        .map(|(cid, (_, dag_name, block))| Head {
            cid,
            dag_name,
            block: block.as_deref(),
        })
        .collect();
    within(
        py,
        "payload",
        &broadcast::encode(&heads),
        BROADCAST_BYTES_TAKEN_MAX,
    )
}

#[pyfunction]
fn decode_broadcast<'py>(py: Python<'py>, payload: &[u8]) -> PyResult<Vec<HeadParts<'py>>> {
    let heads = broadcast::decode(payload).map_err(bad_bytes(py))?;
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
    Ok(heads
        .iter()
        .map(|h| {
            (
                bytes(h.cid.as_bytes()),
                h.dag_name.to_owned(),
                h.block.map(bytes),
            )
        })
        .collect())
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Identity>()?;
    m.add_function(wrap_pyfunction!(cid_of, m)?)?;
    m.add_function(wrap_pyfunction!(check_block, m)?)?;
    m.add_function(wrap_pyfunction!(cid, m)?)?;
    m.add_function(wrap_pyfunction!(clean_key, m)?)?;
    m.add_function(wrap_pyfunction!(encode_key_component, m)?)?;
    m.add_function(wrap_pyfunction!(encode_node, m)?)?;
    m.add_function(wrap_pyfunction!(decode_node, m)?)?;
    m.add_function(wrap_pyfunction!(encode_broadcast, m)?)?;
    m.add_function(wrap_pyfunction!(decode_broadcast, m)?)
}
