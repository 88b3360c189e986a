"""Maps that are iterated: fixed points, certificates, attractors and basins.

The attractors of your own autoencoder (Fumero et al. 2025):

  import jax
  from simplex.analysis.dynamics import attractors, certificates
  f = lambda z: encode(params, decode(params, z))  # one latent code to another
  starts = jax.vmap(lambda x: encode(params, x))(images)
  found = attractors.find(f, starts, tolerance=1e-5, budget=3000)
  print(found, certificates.describe(found.certificate), sep="\\n")
"""
