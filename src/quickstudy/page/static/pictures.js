// Pictures on their way to the server: drawn anew, small, without what a camera wrote about place and time.

const LONGEST = 640; // pixels; the networks see fewer
const SMALL = 256; // up to here without loss

// What is shown (url) and what is sent (content, base64) of a file.
export async function prepared(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name || "This"} is no picture that this browser can open.`);
  }
  const blob = await drawn(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  return { url: URL.createObjectURL(blob), content: await base64(blob) };
}

function drawn(source, width, height) {
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const paper = canvas.getContext("2d");
  paper.fillStyle = "white"; // as the server does behind what is transparent
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.drawImage(source, 0, 0, canvas.width, canvas.height);
  const small = Math.max(canvas.width, canvas.height) <= SMALL;
  return new Promise((resolve) => canvas.toBlob(resolve, small ? "image/png" : "image/jpeg", 0.92));
}

async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

export function fromBase64(content) {
  return `data:image/png;base64,${content}`;
}

// Opens the camera and hands over each picture that is taken, until it is closed.
export async function shoot(title, take) {
  const dialog = document.getElementById("camera");
  const video = dialog.querySelector("video");
  const status = dialog.querySelector("[role=status]");
  if (!navigator.mediaDevices) {
    throw new Error("The browser lends its camera only to pages of this machine or over HTTPS. Choose pictures instead.");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    throw new Error(error.name === "NotAllowedError" ? "The camera was not allowed." : "There is no camera to use.");
  }
  let count = 0;
  dialog.querySelector("h2").textContent = title;
  status.textContent = "";
  video.srcObject = stream;
  dialog.querySelector(".shoot").onclick = async () => {
    if (!video.videoWidth) return;
    const blob = await drawn(video, video.videoWidth, video.videoHeight);
    take([new File([blob], `camera ${++count}`)]);
    status.textContent = `${count} taken`;
  };
  dialog.querySelector(".close").onclick = () => dialog.close();
  dialog.onclose = () => stream.getTracks().forEach((track) => track.stop());
  dialog.showModal();
}
