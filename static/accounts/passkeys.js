// @ts-check
// Forms for passkeys (WebAuthn): the form posts the response of the browser's authenticator.

/**
 * Returns the WebAuthn options: from the page, or from the server if the page is public (sign-in).
 * @param {HTMLFormElement} form
 */
async function optionsFor(form) {
  const id = form.dataset.options;
  if (id) return JSON.parse(document.getElementById(id)?.textContent ?? "{}").publicKey;
  const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(answer.statusText);
  return (await answer.json()).request_options.publicKey;
}

/** @param {HTMLFormElement} form */
async function credentialFor(form) {
  const options = await optionsFor(form);
  if (form.dataset.passkey === "create") {
    options.authenticatorSelection = {
      ...options.authenticatorSelection,
      residentKey: "preferred",
      requireResidentKey: false,
      userVerification: "preferred",
    };
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
    return navigator.credentials.create({ publicKey });
  }
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return navigator.credentials.get({ publicKey });
}

/** @param {HTMLFormElement} form */
function enablePasskeyForm(form) {
  const field = form.elements.namedItem("credential");
  const refused = form.querySelector("[data-passkey-refused]");
  if (!(field instanceof HTMLInputElement) || !(refused instanceof HTMLElement)) return;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    refused.hidden = true;
    try {
      const credential = /** @type {PublicKeyCredential} */ (await credentialFor(form));
      field.value = JSON.stringify(credential.toJSON());
      form.submit();
    } catch {
      refused.hidden = false;
    }
  });
}

/** Enables the forms in this part of the page. @param {ParentNode} root */
export function startPasskeys(root) {
  // WebAuthn exists only on https and localhost; on other origins the buttons stay hidden.
  if (globalThis.PublicKeyCredential && "parseRequestOptionsFromJSON" in PublicKeyCredential) {
    for (const form of root.querySelectorAll("form[data-passkey]")) {
      if (form instanceof HTMLFormElement) enablePasskeyForm(form);
    }
    return;
  }
  for (const sentence of root.querySelectorAll("[data-passkey-absent]")) {
    if (sentence instanceof HTMLElement) sentence.hidden = false;
  }
}
