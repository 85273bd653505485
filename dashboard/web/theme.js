// Sets the colours before anything is painted. "auto" follows the system.
document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";
