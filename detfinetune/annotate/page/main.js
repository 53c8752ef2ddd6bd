// Lists the images and shows one: a stand-in that tries the server's API.
async function load(path) {
  const answer = await fetch(path);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

async function list() {
  const project = await load("/api/project");
  const { images } = await load("/api/images");
  document.querySelector("#summary").textContent = `${project.images} images in ${project.root}`;
  document.querySelector("#images").replaceChildren(
    ...images.map((image) => {
      const item = document.createElement("li");
      item.textContent = `${image.name}: ${image.error ?? `${image.state}, ${image.shapes} objects`}`;
      item.onclick = () => (document.querySelector("#picture").src = image.pixels);
      return item;
    }),
  );
}

new EventSource("/api/events").onmessage = list;
list();
