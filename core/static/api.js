// The browsable page of the REST API: Swagger UI on our own OpenAPI document.
"use strict";
SwaggerUIBundle({
  url: "/api/schema/",
  dom_id: "#swagger",
  deepLinking: true,
  docExpansion: "none",
  tagsSorter: "alpha",
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
