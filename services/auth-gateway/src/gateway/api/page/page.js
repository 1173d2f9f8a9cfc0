// A token that is entered stays in this page and is gone when it closes.
window.SwaggerUIBundle({
  url: "/api/openapi.json",
  domNode: document.getElementById("page"),
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  docExpansion: "list",
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
