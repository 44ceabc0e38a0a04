//! Who signs: an `Identity`, or any host with `peer_id` and `sign`.

use crate::errors::usage;
use crate::wire::Identity;
use crdtstats_core::identity::{SignError, Signer};
use crdtstats_core::peer_id::PeerId;
use pyo3::prelude::*;

struct PythonSigner {
    peer_id: PeerId,
    host: Py<PyAny>,
}

impl Signer for PythonSigner {
    fn peer_id(&self) -> &PeerId {
        &self.peer_id
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Python::attach(|py| {
            self.host
                .bind(py)
                .call_method1("sign", (message,))?
                .extract::<[u8; 64]>()
        })
        .map_err(|error| SignError::new(error.to_string()))
    }
}

/// Run `call` with the signer that `host` is. Long: lets other threads run.
pub fn with_signer<T: Send>(
    host: &Bound<'_, PyAny>,
    call: impl FnOnce(&dyn Signer) -> T + Send,
) -> PyResult<T> {
    let py = host.py();
    if let Ok(identity) = host.cast::<Identity>() {
        let signer = identity.get().signer();
        return Ok(py.detach(|| call(signer)));
    }
    let peer_id: String = host.getattr("peer_id")?.extract()?;
    let peer_id = PeerId::parse(&peer_id).map_err(|error| usage(py, &error.to_string()))?;
    let signer = PythonSigner {
        peer_id,
        host: host.clone().unbind(),
    };
    Ok(py.detach(|| call(&signer)))
}
