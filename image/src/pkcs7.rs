//! Signatures in PKCS #7, as firmware reads them: one signer, its certificate, RSA over SHA-256, and no time, so that the
//! same key makes the same bytes of the same contents.

use sha2::{Digest as _, Sha256};

use crate::der::{
    INTEGER, NULL, OCTETS, RSA, SEQUENCE, SET, SHA256, algorithm, object, tagged, value,
};
use crate::error::Error;
use crate::signing::Signatory;

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const INDIRECT_DATA: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04];
const PE_IMAGE_DATA: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x0f];
/// What stands in the place of a file's name since there is none.
const OBSOLETE: &str = "<<<Obsolete>>>";

/// Makes a signature of the bytes to be signed.
pub(crate) type Sign<'a> = &'a dyn Fn(&[u8]) -> Result<Vec<u8>, Error>;

/// The signature of a program of UEFI with this digest (Authenticode).
pub(crate) fn of_program(
    digest: &[u8; 32],
    signatory: &Signatory,
    sign: Sign<'_>,
) -> Result<Vec<u8>, Error> {
    let name: Vec<u8> = OBSOLETE.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let link = tagged(0, &[&tagged(2, &[&value(0x80, &[&name])])]);
    let image = value(SEQUENCE, &[&object(PE_IMAGE_DATA), &value(SEQUENCE, &[&[3, 1, 0], &link])]);
    let sum = value(SEQUENCE, &[&algorithm(SHA256), &value(OCTETS, &[digest])]);
    let content = [image, sum].concat();
    let attribute =
        |kind: &[u8], inside: &[u8]| value(SEQUENCE, &[&object(kind), &value(SET, &[inside])]);
    let attributes = [
        attribute(CONTENT_TYPE, &object(INDIRECT_DATA)),
        attribute(MESSAGE_DIGEST, &value(OCTETS, &[&Sha256::digest(&content)])),
    ]
    .concat();
    // What is signed is a set; where it is kept it stands under a number.
    let signature = sign(&value(SET, &[&attributes]))?;
    let content =
        value(SEQUENCE, &[&object(INDIRECT_DATA), &tagged(0, &[&value(SEQUENCE, &[&content])])]);
    let data = signed_data(signatory, &content, Some(&attributes), &signature);
    Ok(value(SEQUENCE, &[&object(SIGNED_DATA), &tagged(0, &[&data])]))
}

/// The signature of bytes that are kept elsewhere, without the wrapping that names it, as variables of UEFI have it.
pub(crate) fn detached(
    bytes: &[u8],
    signatory: &Signatory,
    sign: Sign<'_>,
) -> Result<Vec<u8>, Error> {
    let content = value(SEQUENCE, &[&object(DATA)]);
    Ok(signed_data(signatory, &content, None, &sign(bytes)?))
}

fn signed_data(
    signatory: &Signatory,
    content: &[u8],
    attributes: Option<&[u8]>,
    signature: &[u8],
) -> Vec<u8> {
    let kept = attributes.map(|attributes| tagged(0, &[attributes])).unwrap_or_default();
    let who = value(SEQUENCE, &[&signatory.issuer, &signatory.serial]);
    let encryption = value(SEQUENCE, &[&object(RSA), &NULL]);
    let signer = value(
        SEQUENCE,
        &[&one(), &who, &algorithm(SHA256), &kept, &encryption, &value(OCTETS, &[signature])],
    );
    value(
        SEQUENCE,
        &[
            &one(),
            &value(SET, &[&algorithm(SHA256)]),
            content,
            &tagged(0, &[&signatory.certificate]),
            &value(SET, &[&signer]),
        ],
    )
}

fn one() -> Vec<u8> {
    value(INTEGER, &[&[1]])
}
