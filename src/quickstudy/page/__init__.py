"""The web page: show a few examples of each class, ask, and see what the answer rests on; behind it an HTTP API.

It is FastAPI with one page of plain HTML, CSS and JavaScript. Gradio would have been less work, but it writes every
upload to disk, and here nothing may be: pictures come as base64 in JSON, since multipart uploads are spooled to files.
"""
