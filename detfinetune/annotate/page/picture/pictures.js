/** The pictures of a few images, decoded and ready to paint. */

const KEPT = 6;

/** Promises of pictures by address, the ones used last at the end. */
const promises = new Map();

/**
 * @param {{pixels: string}} entry of the list of images
 * @returns {Promise<ImageBitmap>} fails with a reason to show
 */
export function loadPicture({ pixels }) {
  const known = promises.get(pixels);
  promises.delete(pixels);
  const promise = known ?? fetchPicture(pixels);
  promises.set(pixels, promise);
  promise.catch(() => promises.delete(pixels));
  const [oldest] = promises.keys();
  if (promises.size > KEPT) promises.delete(oldest);
  return promise;
}

async function fetchPicture(address) {
  const answer = await fetch(address).catch(() => {
    throw new Error("The server does not answer.");
  });
  if (!answer.ok) {
    const { error } = await answer.json().catch(() => ({}));
    throw new Error(error ?? `The picture cannot be loaded (${answer.status}).`);
  }
  return createImageBitmap(await answer.blob()).catch(() => {
    throw new Error("The browser cannot show this picture.");
  });
}
