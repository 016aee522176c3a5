"use strict";
// Gives each command a button that copies it. Without this script a click
// selects the whole command.
document.querySelectorAll(".cmd").forEach(function (cmd) {
  var words = document.getElementById("words").dataset;
  var code = cmd.querySelector("code");
  var button = document.createElement("button");
  button.type = "button";
  button.textContent = words.copy;
  function done() {
    button.textContent = words.copied;
    setTimeout(function () { button.textContent = words.copy; }, 1500);
  }
  function select() {
    getSelection().selectAllChildren(code);
    if (document.execCommand("copy")) done();
  }
  button.addEventListener("click", function () {
    // The clipboard is open to pages over HTTPS and of this machine only.
    if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, select);
    else select();
  });
  cmd.append(button);
});
